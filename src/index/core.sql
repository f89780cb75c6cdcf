-- The four core tables of a PacsOne-compatible index and their four companions, for embedded indexes and test servers.
-- Written from what public clients of the database read; types and lengths are inferences. PacsOne's own installer makes
-- these and about a hundred others: on its databases this is never run.
--
-- Read by SQLite and by MySQL alike, statement by statement. PATIENT_ID stands for the type of a Patient ID.

CREATE TABLE patient (
  origid PATIENT_ID NOT NULL,
  lastname VARCHAR(64) NOT NULL DEFAULT '',
  firstname VARCHAR(64) NOT NULL DEFAULT '',
  middlename VARCHAR(64) NULL,
  prefix VARCHAR(64) NULL,
  suffix VARCHAR(64) NULL,
  birthdate DATE NULL,
  birthtime TIME NULL,
  sex VARCHAR(16) NULL,
  otherid VARCHAR(64) NULL,
  othername VARCHAR(64) NULL,
  ethnicgroup VARCHAR(16) NULL,
  institution VARCHAR(64) NULL,
  address VARCHAR(64) NULL,
  comments TEXT NULL,
  age FLOAT NULL,
  height FLOAT NULL,
  weight FLOAT NULL,
  occupation VARCHAR(16) NULL,
  history TEXT NULL,
  private TINYINT(1) NOT NULL DEFAULT 0,
  lastaccess DATETIME NULL,
  patientmatchworklist SMALLINT NOT NULL DEFAULT 0,
  ideographic VARCHAR(64) NULL,
  phonetic VARCHAR(64) NULL,
  issuer VARCHAR(64) NULL,
  speciesdescr VARCHAR(64) NULL,
  sexneutered VARCHAR(16) NULL,
  breeddescr VARCHAR(64) NULL,
  respperson VARCHAR(64) NULL,
  resppersonrole VARCHAR(16) NULL,
  resppersonorg VARCHAR(64) NULL,
  charset VARCHAR(64) NULL,
  PRIMARY KEY (origid)
);

CREATE TABLE study (
  uuid VARCHAR(64) NOT NULL,
  id VARCHAR(64) NULL,
  patientid PATIENT_ID NOT NULL DEFAULT '',
  studydate DATE NULL,
  studytime TIME NULL,
  accessionnum VARCHAR(64) NULL,
  modalities VARCHAR(64) NULL,
  referringphysician VARCHAR(64) NULL,
  description VARCHAR(64) NULL,
  readingphysician VARCHAR(64) NULL,
  admittingdiagnoses VARCHAR(64) NULL,
  interpretationauthor VARCHAR(64) NULL,
  private TINYINT(1) NOT NULL DEFAULT 0,
  received DATETIME NULL,
  sourceae VARCHAR(64) NULL,
  reviewed VARCHAR(32) NULL,
  verified VARCHAR(32) NULL,
  compressed SMALLINT NULL,
  matched TINYINT(1) NOT NULL DEFAULT 0,
  studymatchworklist SMALLINT NOT NULL DEFAULT 0,
  requestingphysician VARCHAR(64) NULL,
  updated DATETIME NULL,
  PRIMARY KEY (uuid)
);

CREATE TABLE series (
  uuid VARCHAR(64) NOT NULL,
  studyuid VARCHAR(64) NOT NULL,
  description VARCHAR(64) NULL,
  seriesdate DATE NULL,
  seriestime TIME NULL,
  modality VARCHAR(16) NULL,
  bodypart VARCHAR(64) NULL,
  seriesnumber INT NULL,
  instances INT NULL,
  protocolname VARCHAR(64) NULL,
  institution VARCHAR(64) NULL,
  stationname VARCHAR(64) NULL,
  department VARCHAR(64) NULL,
  operatorname VARCHAR(64) NULL,
  PRIMARY KEY (uuid)
);

CREATE TABLE image (
  uuid VARCHAR(64) NOT NULL,
  sopclass VARCHAR(64) NULL,
  seriesuid VARCHAR(64) NOT NULL,
  xfersyntax VARCHAR(64) NULL,
  instancedate DATE NULL,
  instancetime TIME NULL,
  instance INT NULL,
  overlay SMALLINT NULL,
  curve SMALLINT NULL,
  lut SMALLINT NULL,
  samplesperpixel SMALLINT UNSIGNED NULL,
  numrows SMALLINT UNSIGNED NULL,
  numcolumns SMALLINT UNSIGNED NULL,
  bitsallocated SMALLINT UNSIGNED NULL,
  bitsstored SMALLINT UNSIGNED NULL,
  pixelrepresentation SMALLINT UNSIGNED NULL,
  photometric VARCHAR(16) NULL,
  path VARCHAR(512) NOT NULL,
  completion VARCHAR(16) NULL,
  description VARCHAR(64) NULL,
  verification VARCHAR(16) NULL,
  contentdate DATE NULL,
  contenttime TIME NULL,
  observationdatetime DATETIME NULL,
  verificationdatetime DATETIME NULL,
  doseproduct FLOAT NULL,
  tagged TINYINT(1) NOT NULL DEFAULT 0,
  numframes INT NULL,
  mimetype VARCHAR(64) NULL,
  PRIMARY KEY (uuid)
);

CREATE TABLE conceptname (
  uuid VARCHAR(64) NOT NULL,
  value VARCHAR(16) NULL,
  schemedesignator VARCHAR(16) NULL,
  schemeversion VARCHAR(16) NULL,
  meaning VARCHAR(64) NULL,
  PRIMARY KEY (uuid)
);

CREATE TABLE patientspeciescode (
  patientid PATIENT_ID NOT NULL,
  value VARCHAR(16) NULL,
  schemedesignator VARCHAR(16) NULL,
  schemeversion VARCHAR(16) NULL,
  meaning VARCHAR(64) NULL,
  PRIMARY KEY (patientid)
);

CREATE TABLE patientbreedcode (
  patientid PATIENT_ID NOT NULL,
  value VARCHAR(16) NULL,
  schemedesignator VARCHAR(16) NULL,
  schemeversion VARCHAR(16) NULL,
  meaning VARCHAR(64) NULL,
  PRIMARY KEY (patientid)
);

CREATE TABLE breedregistration (
  patientid PATIENT_ID NOT NULL,
  regnumber VARCHAR(64) NULL,
  value VARCHAR(16) NULL,
  schemedesignator VARCHAR(16) NULL,
  schemeversion VARCHAR(16) NULL,
  meaning VARCHAR(64) NULL,
  PRIMARY KEY (patientid)
);

CREATE INDEX patient_lastname ON patient (lastname);
CREATE INDEX patient_institution ON patient (institution);
CREATE INDEX study_patientid ON study (patientid);
CREATE INDEX study_studydate ON study (studydate);
CREATE INDEX study_received ON study (received);
CREATE INDEX study_accessionnum ON study (accessionnum);
CREATE INDEX series_studyuid ON series (studyuid);
CREATE INDEX series_modality ON series (modality);
CREATE INDEX series_seriesdate ON series (seriesdate);
CREATE INDEX image_seriesuid ON image (seriesuid, instance);
CREATE INDEX image_sopclass ON image (sopclass);
CREATE INDEX image_instancedate ON image (instancedate);
